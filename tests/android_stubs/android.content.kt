package android.content

import android.content.res.AssetManager
import android.net.Uri
import android.os.Parcelable
import java.io.File

abstract class ContentResolver

abstract class Context {
    abstract val assets: AssetManager
    abstract val cacheDir: File
    abstract val contentResolver: ContentResolver
    abstract val filesDir: File
    abstract val packageName: String

    /** Null where there is no such service. */
    fun <T> getSystemService(serviceClass: Class<T>): T? = TODO()

    abstract fun startActivity(intent: Intent)
}

open class ContextWrapper : Context() {
    override val assets: AssetManager get() = TODO()
    override val cacheDir: File get() = TODO()
    override val contentResolver: ContentResolver get() = TODO()
    override val filesDir: File get() = TODO()
    override val packageName: String get() = TODO()

    override fun startActivity(intent: Intent): Unit = TODO()
}

open class Intent : Parcelable {
    constructor(action: String)

    constructor(action: String, uri: Uri)

    constructor(packageContext: Context, cls: Class<*>)

    fun addFlags(flags: Int): Intent = TODO()

    fun putExtra(name: String, value: Parcelable?): Intent = TODO()

    fun setType(type: String?): Intent = TODO()

    companion object {
        const val ACTION_SEND = "android.intent.action.SEND"
        const val EXTRA_STREAM = "android.intent.extra.STREAM"
        const val FLAG_ACTIVITY_NEW_TASK = 0x10000000
        const val FLAG_GRANT_READ_URI_PERMISSION = 0x00000001

        @JvmStatic
        fun createChooser(target: Intent, title: CharSequence?): Intent = TODO()
    }
}
